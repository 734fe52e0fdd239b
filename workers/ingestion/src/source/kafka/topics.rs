//! Which topics are read.

use std::fmt;

use taffrail_crds::KafkaSource;

/// What a consumer subscribes to, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topics {
    Named(Vec<String>),
    Pattern(String),
}

impl Topics {
    pub(super) fn new(spec: &KafkaSource) -> Self {
        match &spec.topic_pattern {
            Some(pattern) => Self::Pattern(pattern.clone()),
            None => Self::Named(spec.topic.iter().chain(&spec.topics).cloned().collect()),
        }
    }

    /// What librdkafka is told: it takes what begins with `^` for an expression, which need not match to the end.
    pub(super) fn subscription(&self) -> Vec<String> {
        match self {
            Self::Named(topics) => topics.clone(),
            Self::Pattern(pattern) => vec![format!("^({pattern})$")],
        }
    }

    /// Which topics must not be read though they match: Kafka's own, and where our dead letters go. As librdkafka takes
    /// it: expressions and commas.
    pub(super) fn excluded(&self, dead_letters: Option<&str>) -> Option<String> {
        match self {
            Self::Named(_) => None,
            Self::Pattern(_) => {
                // Names of topics have no other character that means something in an expression.
                let dead_letters = dead_letters.map(|topic| format!(",^{}$", topic.replace('.', "\\.")));
                Some(format!("^__{}", dead_letters.unwrap_or_default()))
            }
        }
    }

    /// A topic to ask the brokers about, where one is known.
    pub(super) fn first(&self) -> Option<&str> {
        match self {
            Self::Named(topics) => topics.first().map(String::as_str),
            Self::Pattern(_) => None,
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(topics) => match &**topics {
                [topic] => write!(f, "the topic `{topic}`"),
                topics => write!(f, "the topics `{}`", topics.join("`, `")),
            },
            Self::Pattern(pattern) => write!(f, "topics that match `{pattern}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_several_and_a_pattern() {
        let one = Topics::new(&KafkaSource { topic: Some("logs".to_owned()), ..KafkaSource::default() });
        assert_eq!((one.subscription(), one.excluded(Some("dead"))), (vec!["logs".to_owned()], None));
        let two = Topics::new(&KafkaSource { topics: vec!["a".to_owned(), "b".to_owned()], ..KafkaSource::default() });
        assert_eq!((two.to_string(), two.first()), ("the topics `a`, `b`".to_owned(), Some("a")));
        let pattern = Topics::new(&KafkaSource { topic_pattern: Some("a|b".to_owned()), ..KafkaSource::default() });
        assert_eq!(pattern.subscription(), ["^(a|b)$"]);
        assert_eq!(pattern.excluded(None).as_deref(), Some("^__"));
        assert_eq!(pattern.excluded(Some("a.dead")).as_deref(), Some("^__,^a\\.dead$"));
    }
}
