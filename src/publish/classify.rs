//! Classifies errors of the broker by what there is to do about them.
//!
//! librdkafka retries by itself what it takes for transient (leader changes, time-outs, broken
//! connections). The rest is decided here, by what librdkafka 2.12.1 was seen to do with each
//! code; some that it calls permanent are not: Event Hubs says `POLICY_VIOLATION` when it throttles.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error, by what there is to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Send again after a pause.
    Again,
    /// The producer has no room: wait for answers.
    Full,
    /// This event, or one in its batch, is not acceptable: send fewer to find out which.
    Event,
    /// Nothing will get through until a setting is changed: the same pauses, and an error in the log.
    Setting,
    /// This producer is finished: make a new one and begin again at the mark.
    Producer,
    /// No event's error: a broker could not be reached, or the way to it broke.
    Connection,
}

impl ErrorClass {
    /// Every class, in order.
    pub const ALL: [ErrorClass; 6] = [
        ErrorClass::Again,
        ErrorClass::Full,
        ErrorClass::Event,
        ErrorClass::Setting,
        ErrorClass::Producer,
        ErrorClass::Connection,
    ];

    /// The class as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Again => "again",
            ErrorClass::Full => "full",
            ErrorClass::Event => "event",
            ErrorClass::Setting => "setting",
            ErrorClass::Producer => "producer",
            ErrorClass::Connection => "connection",
        }
    }
}

/// Classifies an error of `send` or of a delivery report.
pub(super) fn classify(error: &KafkaError) -> ErrorClass {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => ErrorClass::Full,
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord) => {
            ErrorClass::Event
        }
        Some(Code::InvalidTimestamp | Code::InvalidMessageSize | Code::InvalidMessage) => ErrorClass::Event,
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
        ) => ErrorClass::Setting,
        Some(Code::Fatal | Code::OutOfOrderSequenceNumber | Code::ProducerFenced | Code::Fenced) => {
            ErrorClass::Producer
        }
        _ => ErrorClass::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_not_permanent_and_a_large_event_is() {
        let class = |code| classify(&KafkaError::MessageProduction(code));
        assert_eq!(class(Code::PolicyViolation), ErrorClass::Again);
        assert_eq!(class(Code::ThrottlingQuotaExceeded), ErrorClass::Again);
        assert_eq!(class(Code::Unknown), ErrorClass::Again);
        assert_eq!(class(Code::QueueFull), ErrorClass::Full);
        assert_eq!(class(Code::MessageSizeTooLarge), ErrorClass::Event);
        assert_eq!(class(Code::TopicAuthorizationFailed), ErrorClass::Setting);
        assert_eq!(class(Code::OutOfOrderSequenceNumber), ErrorClass::Producer);
    }
}
