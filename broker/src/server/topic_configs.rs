//! Which settings hold now, for topics and for this broker?

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{TopicSettings, Values, topic_settings};

/// The settings of all topics that override any, what the others get, and where that comes from.
#[derive(Debug)]
pub struct TopicConfigs {
    /// What the broker was started with.
    fixed: Values,
    inner: RwLock<Inner>,
}

/// What was set for brokers while they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dynamic {
    /// For this broker.
    pub own: BTreeMap<String, String>,
    /// For all of them.
    pub all: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Inner {
    dynamic: Dynamic,
    /// The broker's own settings, as they are now.
    broker: Values,
    defaults: Arc<TopicSettings>,
    overrides: BTreeMap<String, (BTreeMap<String, String>, Arc<TopicSettings>)>,
}

impl TopicConfigs {
    /// `broker` was checked when the configuration was.
    pub fn new(broker: Values) -> Result<TopicConfigs, String> {
        let defaults = Arc::new(topic_settings(&BTreeMap::new(), &broker)?);
        let (dynamic, overrides) = (Dynamic::default(), BTreeMap::new());
        let inner = Inner { dynamic, broker: broker.clone(), defaults, overrides };
        Ok(TopicConfigs { fixed: broker, inner: RwLock::new(inner) })
    }

    /// A topic's settings.
    pub fn of(&self, topic: &str) -> Arc<TopicSettings> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner.overrides.get(topic).map(|(_, settings)| settings);
        Arc::clone(found.unwrap_or(&inner.defaults))
    }

    /// The broker's own settings, as they are now.
    pub fn broker(&self) -> Values {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).broker.clone()
    }

    /// What the broker was started with, and what was set since.
    pub fn of_broker(&self) -> (Values, Dynamic) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        (self.fixed.clone(), inner.dynamic.clone())
    }

    /// Takes over a topic's overrides and returns what they come to. What cannot be understood is left at the default, and said.
    pub fn set(&self, topic: &str, overrides: BTreeMap<String, String>) -> Arc<TopicSettings> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let settings = match topic_settings(&overrides, &inner.broker) {
            Ok(settings) => Arc::new(settings),
            Err(error) => {
                tracing::warn!(
                    topic,
                    error,
                    "the topic has settings that cannot be understood; the defaults hold"
                );
                Arc::clone(&inner.defaults)
            }
        };
        if overrides.is_empty() {
            inner.overrides.remove(topic);
        } else {
            inner.overrides.insert(topic.to_owned(), (overrides, Arc::clone(&settings)));
        }
        settings
    }

    /// Takes over what was set for brokers; the topics whose settings changed with that get the new ones. What cannot be
    /// understood changes nothing.
    pub fn set_dynamic(&self, dynamic: Dynamic) -> Result<(), String> {
        let broker = self.fixed.overlaid(&dynamic.all).overlaid(&dynamic.own);
        let defaults = Arc::new(topic_settings(&BTreeMap::new(), &broker)?);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for (topic, (overrides, settings)) in &mut inner.overrides {
            match topic_settings(overrides, &broker) {
                Ok(new) => *settings = Arc::new(new),
                Err(error) => tracing::warn!(topic, error, "the topic's settings stay as they were"),
            }
        }
        inner.dynamic = dynamic;
        inner.broker = broker;
        inner.defaults = defaults;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_topic_goes_before_its_broker_and_that_before_all_brokers() {
        let configs = TopicConfigs::new(Values::default()).expect("the defaults hold");
        let name = "log.segment.bytes";
        let of = |topic: &str| configs.of(topic).log.segment_bytes;
        configs.set("own", one("segment.bytes", "100"));
        configs.set("other", one("retention.ms", "5"));
        assert_eq!((of("own"), of("other"), of("none")), (100, 1 << 30, 1 << 30));
        let all = Dynamic { all: one(name, "300"), ..Dynamic::default() };
        configs.set_dynamic(all.clone()).expect("it is a number");
        assert_eq!((of("own"), of("other"), of("none")), (100, 300, 300));
        configs.set_dynamic(Dynamic { own: one(name, "200"), ..all.clone() }).expect("it is a number");
        assert_eq!((of("own"), of("other"), of("none")), (100, 200, 200));
        assert!(configs.set_dynamic(Dynamic { own: one(name, "many"), ..all }).is_err());
        assert_eq!(of("none"), 200, "what is wrong changes nothing");
        configs.set_dynamic(Dynamic::default()).expect("the defaults hold");
        assert_eq!((of("own"), of("none")), (100, 1 << 30));
    }
}
