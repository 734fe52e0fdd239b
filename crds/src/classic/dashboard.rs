//! A page for those who had the classic dashboard.

use crate::{DEFAULT_NAMESPACE, Dashboard, DashboardSpec, Duration, Panel, PanelLogs, PanelQuery, PanelType};

pub(super) fn overview() -> Dashboard {
    let spec = DashboardSpec {
        title: Some("Overview".to_owned()),
        range: Duration::from_secs(3600),
        refresh: Duration::from_secs(10),
        variables: Vec::new(),
        panels: vec![
            series("Logs per second", "reqps", &[("rate log_count by level", "{{level}}")]),
            series("Errors per second", "reqps", &[("rate error_count by service", "{{service}}")]),
            series("Requests per second", "reqps", &[("rate request_count by service", "{{service}}")]),
            series(
                "Response time",
                "ms",
                &[("p50 response_time", "p50"), ("p95 response_time", "p95"), ("p99 response_time", "p99")],
            ),
            Panel { kind: PanelType::Alerts, width: 12, ..panel("Alerts") },
            Panel {
                kind: PanelType::Logs,
                logs: Some(PanelLogs { query: "level:error".to_owned(), limit: 100 }),
                width: 12,
                ..panel("Recent errors")
            },
        ],
        ingress: None,
        access: None,
    };
    let mut dashboard = Dashboard::new("overview", spec);
    dashboard.metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    dashboard
}

fn series(title: &str, unit: &str, queries: &[(&str, &str)]) -> Panel {
    let queries = queries.iter().map(|(query, legend)| PanelQuery {
        query: Some((*query).to_owned()),
        expr: None,
        duration: None,
        legend: Some((*legend).to_owned()),
    });
    Panel { unit: Some(unit.to_owned()), queries: queries.collect(), ..panel(title) }
}

fn panel(title: &str) -> Panel {
    Panel {
        title: Some(title.to_owned()),
        kind: PanelType::Timeseries,
        unit: None,
        queries: Vec::new(),
        logs: None,
        text: None,
        thresholds: Vec::new(),
        width: 6,
        height: None,
    }
}
