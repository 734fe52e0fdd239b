//! Texts of Prometheus' alerts, in Go's template language, as minijinja templates.

/// The template, and whether all of it could be converted. What can't be is kept as a text that no template touches.
pub(super) fn convert(text: &str) -> (String, bool) {
    match expressions(text) {
        Some(converted) => (converted, true),
        None => (format!("{{% raw %}}{}{{% endraw %}}", text.replace("{%", "{ %")), false),
    }
}

/// Knows `{{ $value }}` and `{{ $labels.name }}`, and their older forms `{{ .Value }}` and `{{ .Labels.name }}`.
fn expressions(text: &str) -> Option<String> {
    let mut converted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        literal(&rest[..start], &mut converted);
        let inner = &rest[start + 2..];
        let end = inner.find("}}")?;
        let expression = inner[..end].trim_matches('-').trim();
        let label = expression.strip_prefix("$labels.").or_else(|| expression.strip_prefix(".Labels."));
        match (expression, label) {
            ("$value" | ".Value", _) => converted.push_str("{{ value }}"),
            (_, Some(name)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                converted.push_str("{{ labels.");
                converted.push_str(name);
                converted.push_str(" }}");
            }
            _ => return None,
        }
        rest = &inner[end + 2..];
    }
    literal(rest, &mut converted);
    Some(converted)
}

/// A text that means nothing to Go but would to minijinja.
fn literal(text: &str, converted: &mut String) {
    converted.push_str(&text.replace("{%", "{{ '{%' }}").replace("{#", "{{ '{#' }}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_converted_and_the_rest_left_alone() {
        for (text, expected, whole) in [
            ("{{ $labels.job }} is at {{$value}}", "{{ labels.job }} is at {{ value }}", true),
            ("{{- .Labels.job -}} {{ .Value }}", "{{ labels.job }} {{ value }}", true),
            ("100 {% up", "100 {{ '{%' }} up", true),
            ("plain", "plain", true),
            ("{{ $value | humanize }}", "{% raw %}{{ $value | humanize }}{% endraw %}", false),
            ("{{ $labels.a.b", "{% raw %}{{ $labels.a.b{% endraw %}", false),
        ] {
            assert_eq!(convert(text), (expected.to_owned(), whole), "{text}");
        }
    }
}
