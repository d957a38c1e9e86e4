//! The text of quota nodes.

/// Where quota nodes live.
pub const ROOT: &str = "/zookeeper/quota";
/// The name of a node that holds limits.
pub const LIMITS: &str = "zookeeper_limits";
/// The name of a node that holds usage.
pub const STATS: &str = "zookeeper_stats";

/// Numbers by name, sorted; `count` and `bytes` are always there.
#[derive(Debug, Clone)]
pub struct Numbers(Vec<(String, i64)>);

impl Numbers {
    /// Reads the text of a quota node; what makes no sense counts as −1.
    pub fn parse(data: &[u8]) -> Numbers {
        let mut numbers = Numbers(vec![("bytes".into(), -1), ("count".into(), -1)]);
        for pair in String::from_utf8_lossy(data).replace(';', ",").split(',').filter(|pair| !pair.is_empty())
        {
            let parts: Vec<&str> = pair.split('=').map(str::trim).collect();
            let value = parts.get(1).and_then(|value| value.parse().ok()).unwrap_or(-1);
            if !parts[0].is_empty() {
                numbers.set(parts[0], value);
            }
        }
        numbers
    }

    /// The number of that name; −1 if there is none.
    pub fn get(&self, name: &str) -> i64 {
        self.0.iter().find(|(key, _)| key == name).map_or(-1, |(_, value)| *value)
    }

    /// Replaces a number.
    pub fn set(&mut self, name: &str, value: i64) {
        self.0.retain(|(key, _)| key != name);
        self.0.push((name.into(), value));
        self.0.sort();
    }

    /// The text of a quota node.
    pub fn format(&self) -> String {
        let others: Vec<String> = self
            .0
            .iter()
            .filter(|(key, _)| key != "count" && key != "bytes")
            .map(|(key, value)| format!(";{key}={value}"))
            .collect();
        let separator = if others.is_empty() { "" } else { "=" };
        format!("count={},bytes={}{separator}{}", self.get("count"), self.get("bytes"), others.concat())
    }
}
