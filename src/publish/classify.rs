//! What an error of the broker calls for.
//!
//! librdkafka retries by itself what it takes for transient (leader changes, time-outs, broken
//! connections). What is left is decided here, by what librdkafka 2.12.1 was seen to do with each
//! code; some that it calls permanent are not: Event Hubs says `POLICY_VIOLATION` when it throttles.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Send again after a pause.
    Again,
    /// The producer has no room: wait for answers.
    Full,
    /// This event, or one in its batch, is not acceptable: send fewer to find out which.
    Event,
    /// Nothing will get through until somebody changes a setting: the same pauses, and a loud word.
    Setting,
    /// This producer is finished: make a new one and begin again at the mark.
    Producer,
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Class; 5] = [Class::Again, Class::Full, Class::Event, Class::Setting, Class::Producer];

    /// The class as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Again => "again",
            Class::Full => "full",
            Class::Event => "event",
            Class::Setting => "setting",
            Class::Producer => "producer",
        }
    }
}

/// Classifies an error of `send` or of a delivery report.
pub(super) fn classify(error: &KafkaError) -> Class {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => Class::Full,
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord) => Class::Event,
        Some(Code::InvalidTimestamp | Code::InvalidMessageSize | Code::InvalidMessage) => Class::Event,
        Some(
            Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::SecurityDisabled
            | Code::UnsupportedVersion,
        ) => Class::Setting,
        Some(Code::Fatal | Code::OutOfOrderSequenceNumber | Code::ProducerFenced | Code::Fenced) => {
            Class::Producer
        }
        _ => Class::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_not_permanent_and_a_large_event_is() {
        let class = |code| classify(&KafkaError::MessageProduction(code));
        assert_eq!(class(Code::PolicyViolation), Class::Again);
        assert_eq!(class(Code::ThrottlingQuotaExceeded), Class::Again);
        assert_eq!(class(Code::Unknown), Class::Again);
        assert_eq!(class(Code::QueueFull), Class::Full);
        assert_eq!(class(Code::MessageSizeTooLarge), Class::Event);
        assert_eq!(class(Code::TopicAuthorizationFailed), Class::Setting);
        assert_eq!(class(Code::OutOfOrderSequenceNumber), Class::Producer);
    }
}
