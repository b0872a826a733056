//! The brokers and the topic as they are now, asked by a client that sends nothing and makes no topic.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::config::KafkaConfig;
use super::context::Context;

/// How long one question may take; the client's complaints are heard between two.
const QUESTION: Duration = Duration::from_secs(2);

/// Between two questions, where the first is answered by an error at once.
const AGAIN: Duration = Duration::from_millis(200);

/// Complaints of the client that are heard after a question, and how long each is waited for.
const COMPLAINTS_MAX: usize = 10;
const COMPLAINT: Duration = Duration::from_millis(10);

/// What the brokers say of themselves and of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSeen {
    /// Brokers of the cluster.
    pub brokers: usize,
    /// Partitions of the topic.
    pub partitions: usize,
}

/// The version of the library that speaks to brokers.
pub fn library_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

impl KafkaConfig {
    /// Asks for the topic, for at most so long once there is a login; a first token may take half a minute.
    ///
    /// # Errors
    /// Says why there is no answer, or why the topic cannot be published to.
    pub fn look(&self, time: Duration) -> Result<TopicSeen, String> {
        // librdkafka wants a group to read in; nothing joins it.
        let client = self.consumer(&[("group.id", "tokenweir-check")]).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        loop {
            let left = time.saturating_sub(begun.elapsed());
            match client.fetch_metadata(Some(&self.topic), left.min(QUESTION)) {
                Ok(metadata) => return self.seen(&metadata),
                Err(error) => {
                    if let Some(why) = no_answer(&client, &error, time.saturating_sub(begun.elapsed())) {
                        return Err(why);
                    }
                }
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn seen(&self, metadata: &Metadata) -> Result<TopicSeen, String> {
        let brokers = metadata.brokers().len();
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let problem = topic.and_then(|topic| topic.error()).map(Code::from);
        let partitions = topic.map_or(&[][..], |topic| topic.partitions());
        match problem {
            Some(Code::TopicAuthorizationFailed) => {
                return Err("the login may not see the topic; it needs Describe and Write on it".to_owned());
            }
            None if !partitions.is_empty() => {}
            _ => {
                let why = problem.map_or(String::new(), |code| format!(" ({code})"));
                return Err(format!(
                    "there is no such topic{why}; tokenweir makes none, so make it, with the partitions and the retention that it needs"
                ));
            }
        }
        let leaderless = partitions.iter().filter(|partition| partition.leader() < 0).count();
        if leaderless > 0 {
            return Err(format!("{leaderless} of {} partitions have no leader now", partitions.len()));
        }
        Ok(TopicSeen { brokers, partitions: partitions.len() })
    }
}

/// Why there is no answer and will be none in the time that is left; `None` to ask again.
fn no_answer(client: &BaseConsumer<Context>, error: &KafkaError, left: Duration) -> Option<String> {
    // Its complaints are heard by polling; there is nothing else to be had.
    for _ in 0..COMPLAINTS_MAX {
        let _ = client.poll(COMPLAINT);
    }
    let context = client.context();
    if !left.is_zero() && !context.is_denied() {
        return None;
    }
    let said = context.complaint().unwrap_or_else(|| error.to_string());
    let what = if context.is_denied() { "the brokers deny the login" } else { "no broker answers" };
    Some(format!("{what}; the client says: {said}"))
}
