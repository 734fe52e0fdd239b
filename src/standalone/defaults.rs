//! What `taffrail standalone` does when it is given no objects: it takes logs over HTTP and from standard input.

use anyhow::ensure;
use taffrail_crds::{Object, manifest};

const OBJECTS: &str = include_str!("defaults.yaml");

/// The objects; the one that reads standard input only when there is something to read.
pub(crate) fn objects(piped: bool) -> anyhow::Result<Vec<Object>> {
    let parsed = manifest::parse(OBJECTS);
    ensure!(parsed.problems.is_empty(), "the built-in objects are wrong: {:?}", parsed.problems);
    let objects = parsed.objects.into_iter().map(|located| located.object);
    Ok(objects.filter(|object| piped || object.key().name != "stdin").collect())
}

#[cfg(test)]
mod tests {
    use taffrail_crds::Object;

    use super::objects;

    #[test]
    fn the_built_in_objects_load() {
        let names = |piped| -> Vec<String> {
            objects(piped).expect("objects").iter().map(|object| object.key().name).collect()
        };
        assert_eq!(names(true), ["stdin", "http", "overview"]);
        assert_eq!(names(false), ["http", "overview"]);
        for object in objects(true).expect("objects") {
            if let Object::LogPipeline(pipeline) = object
                && let Some(transform) = &pipeline.spec.transform
            {
                assert_eq!(taffrail_ingestion::check_transform(transform), Ok(()));
            }
        }
    }
}
