//! The index templates: how documents become searchable.
//!
//! A service's odd fields must neither make the mapping grow without end nor get a log refused. So with
//! [`Dialect::Mapped`]
//! - below `fields` and `tags` there are no objects (`subobjects: false`): `{"user": "bob"}` and `{"user": {"id": 1}}`
//!   are the paths `fields.user` and `fields.user.id`, which don't contradict each other;
//! - every value is a keyword, which takes whatever comes, and paths that have had a number have a subfield
//!   [`NUMBER`] for ranges, which ignores what is not a number;
//! - paths beyond [`MAX_PATHS`] are kept and shown, but not indexed.
//!
//! [`Dialect::Limited`] refuses logs with such paths; they are written again without their fields being indexed
//! ([`super::apart`]). [`Dialect::FlatObject`] has one field for all.
//!
//! Whoever wants other settings (shards, replicas, a lifecycle) puts them into a component template `<name>@custom`.

use serde_json::{Value, json};

use super::dialect::Dialect;
use super::index;
use crate::limits::{MAX_VALUE, MAX_WORD};

/// The version of what is below. A template with this version, or a later one, is left as it is.
pub(super) const VERSION: u64 = 1;
/// The subfield that has a field's numbers.
pub(super) const NUMBER: &str = "as_number";
/// The key of a document below which there is what can't be indexed.
pub(super) const UNINDEXED: &str = "unindexed";
/// How many fields a mapping may have; those with numbers count twice.
const MAX_PATHS: u64 = 2_000;
/// Above the templates that come with Elasticsearch and its agents (100 to 200), one of which claims `logs-*-*`. The
/// name's length is added: of two templates that fit, the more special one wins, and none are equal.
const PRIORITY: usize = 500;

/// The name of the template for the daily indices or, with the name of that index, for the dead letters.
pub(super) fn name_of(index: &str) -> String {
    format!("taffrail-{index}")
}

/// The template for the daily indices.
pub(super) fn logs(base: &str, dialect: Dialect) -> Value {
    let mut settings = json!({
        "index.analysis.tokenizer.taffrail_words": {"type": "pattern", "group": 0, "pattern": WORD},
        "index.analysis.filter.taffrail_longest": {"type": "truncate", "length": MAX_WORD},
        "index.analysis.analyzer.taffrail_message": {
            "type": "custom", "tokenizer": "taffrail_words", "filter": ["lowercase", "taffrail_longest"],
        },
    });
    if dialect != Dialect::FlatObject {
        settings["index.mapping.total_fields.limit"] = MAX_PATHS.into();
    }
    if dialect == Dialect::Mapped {
        settings["index.mapping.total_fields.ignore_dynamic_beyond_limit"] = true.into();
    }
    let (any, templates) = match dialect {
        Dialect::Mapped | Dialect::Limited => {
            (json!({"type": "object", "subobjects": false, "dynamic": true}), by_path())
        }
        Dialect::FlatObject => (json!({"type": "flat_object"}), json!([])),
    };
    let mappings = json!({
        "dynamic": false,
        "date_detection": false,
        "dynamic_templates": templates,
        "properties": {
            "timestamp": {"type": "date", "format": "strict_date_optional_time||epoch_millis"},
            "level": keyword(),
            "message": {"type": "text", "analyzer": "taffrail_message", "norms": false},
            "service": keyword(),
            "host": keyword(),
            "tags": any,
            "fields": any,
            UNINDEXED: {"type": "object", "enabled": false},
        },
    });
    template(base, &index::patterns(base), dialect, &json!({"settings": settings, "mappings": mappings}))
}

/// The template for the index of dead letters. The originals are kept, but can't be searched.
pub(super) fn dead_letters(index: &str, dialect: Dialect) -> Value {
    let exact = json!({"type": "keyword", "ignore_above": MAX_VALUE});
    let mappings = json!({
        "dynamic": false,
        "properties": {
            "id": exact,
            "timestamp": {"type": "date", "format": "epoch_millis"},
            "pipeline": exact,
            "generation": {"type": "long"},
            "topic": exact,
            "partition": {"type": "integer"},
            "offset": {"type": "long"},
            "status": {"type": "integer"},
            "reason": {"type": "text", "norms": false},
            "cause": exact,
        },
    });
    template(index, &[index.to_owned()], dialect, &json!({"mappings": mappings}))
}

fn template(index: &str, patterns: &[String], dialect: Dialect, content: &Value) -> Value {
    let mut template = json!({
        "index_patterns": patterns,
        "priority": PRIORITY + index.len(),
        "version": VERSION,
        "template": content,
        "_meta": {"managed_by": "taffrail", "description": "how Taffrail's documents become searchable"},
    });
    if dialect == Dialect::Mapped {
        let custom = json!([format!("{}@custom", name_of(index))]);
        template["composed_of"] = custom.clone();
        template["ignore_missing_component_templates"] = custom;
    }
    template
}

/// As [`crate::q`] has it.
const WORD: &str = r"[\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\x{20000}-\x{3FFFF}]|[\p{IsAlphabetic}\p{N}_&&[^\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\x{20000}-\x{3FFFF}]]+";

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": MAX_VALUE})
}

/// The mapping of a path that has numbers. To strings the subfield costs as much as all the rest, since each makes an
/// exception in the server; so paths get it with their first number only.
pub(super) fn keyword_and_number() -> Value {
    let mut mapping = keyword();
    mapping["fields"] = json!({NUMBER: {"type": "double", "coerce": false, "ignore_malformed": true}});
    mapping
}

fn by_path() -> Value {
    let on = |name: &str, path: &str, kind: &str, mapping: Value| json!({name: {"path_match": path, "match_mapping_type": kind, "mapping": mapping}});
    json!([
        on("tags", "tags.*", "string", keyword()),
        on("texts", "fields.*", "string", keyword()),
        on("booleans", "fields.*", "boolean", keyword()),
        on("integers", "fields.*", "long", keyword_and_number()),
        on("floats", "fields.*", "double", keyword_and_number()),
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn longer_names_have_templates_of_their_own() {
        let priority = |base| logs(base, Dialect::Mapped)["priority"].as_u64().unwrap();
        assert!(priority("logs-shop") > priority("logs"));
        assert!(priority("a") > 200, "below the templates that come with Elasticsearch");
    }

    #[test]
    fn only_current_servers_get_current_settings() {
        let text = |dialect| logs("logs", dialect).to_string();
        assert!(text(Dialect::Mapped).contains("ignore_dynamic_beyond_limit"));
        assert!(!text(Dialect::Limited).contains("ignore_dynamic_beyond_limit"));
        assert!(text(Dialect::Limited).contains("subobjects"));
        assert!(text(Dialect::FlatObject).contains("flat_object"));
        assert!(!text(Dialect::FlatObject).contains("ignore_missing_component_templates"));
    }
}
