//! What is wrong with a Tiltfile is found.

use anyhow::Result;

use super::{check, read};

/// What is replaced in ours, by what, and what is said then.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("port_forwards=", "port_forward=", "unexpected keyword argument \"port_forward\""),
    ("k8s_resource('shop'", "k8s_resouce('shop'", "undefined: k8s_resouce"),
    ("port_forwards=9200", "port_forwards=None", "k8s_resource: for parameter port_forwards: got NoneType"),
    ("disable_push=True", "disable_push='True'", "custom_build: for parameter disable_push: got string, want bool"),
    ("namespace='default'", "namespace=['default']", "helm: for parameter namespace: got list, want string"),
    ("new_name='objects',", "", "k8s_resource needs a workload, or objects and new_name"),
    ("new_name='objects'", "new_name='shop'", "two resources in the Tiltfile are called `shop`"),
    ("k8s_resource('shop'", "k8s_resource('shops'", "applies no workload `shops`"),
    ("resource_deps=['kafka']", "resource_deps=['kafak']", "has no resource `kafak`"),
    ("'logs:logpipeline'", "'log:logpipeline'", "applies no object `log:logpipeline`"),
    ("'logs:logpipeline'", "'logs:dashboard'", "applies no object `logs:dashboard`"),
    ("'operator/src'", "'operator/source'", "`operator/source` in the Tiltfile is not there"),
    ("examples/tilt/shop.yaml", "examples/tilt/shops.yaml", "could not read examples/tilt/shops.yaml"),
    ("'charts/taffrail'", "'charts/tafrail'", "charts/tafrail"),
    ("operator.logLevel=debug", "operator.loglevel=debug", "'loglevel' not allowed"),
    ("ghcr.io/taffrail/taffrail", "ghcr.io/taffrail/operator", "and nothing uses it"),
    ("k8s_context()", "'production'", "this is for a cluster of kind"),
];

#[test]
fn ours_is_right() -> Result<()> {
    check(&read()?).map(drop)
}

#[test]
fn mistakes_are_found() -> Result<()> {
    let ours = read()?;
    for (right, wrong, reason) in MISTAKES {
        assert!(ours.contains(right), "{right} is not in the Tiltfile any more");
        let error = check(&ours.replace(right, wrong)).expect_err(wrong);
        assert!(format!("{error:#}").contains(reason), "{wrong}: {error:#}");
    }
    Ok(())
}

#[test]
fn an_error_names_the_line() -> Result<()> {
    let ours = read()?;
    let line = ours.lines().position(|line| line.contains("port_forwards=")).map(|n| n + 1);
    let error = check(&ours.replace("port_forwards=", "ports=")).expect_err("it has no ports");
    let place = format!("Tiltfile:{}:", line.unwrap_or_default());
    assert!(format!("{error:#}").contains(&place), "{error:#} does not name {place}");
    Ok(())
}
