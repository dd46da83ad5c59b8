//! Which messages should not wait behind others on their way.

/// Heartbeats, votes and their answers: small, useless when late, and harmless out of order. Appends and their answers are neither: out of
/// order they cause rejections and retransmissions. Reads the first field of the encoded message, its type.
pub fn is_urgent(message: &[u8]) -> bool {
    const TYPE_FIELD: u8 = 0x08;
    /// Vote and its answer, heartbeat and its answer, timeout-now, pre-vote and its answer.
    const URGENT: [u8; 7] = [5, 6, 8, 9, 14, 17, 18];
    matches!(message, [TYPE_FIELD, kind, ..] if URGENT.contains(kind))
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;
    use raft::eraftpb::{Message, MessageType};

    use super::is_urgent;

    #[test]
    fn heartbeats_and_votes_are_urgent_and_appends_are_not() {
        let encoded = |kind| {
            let mut message = Message::default();
            message.set_msg_type(kind);
            message.to = 1;
            message.write_to_bytes().unwrap()
        };
        use MessageType::*;
        for kind in [
            MsgRequestVote,
            MsgRequestVoteResponse,
            MsgHeartbeat,
            MsgHeartbeatResponse,
            MsgTimeoutNow,
            MsgRequestPreVote,
            MsgRequestPreVoteResponse,
        ] {
            assert!(is_urgent(&encoded(kind)), "{kind:?}");
        }
        for kind in [MsgAppend, MsgAppendResponse, MsgSnapshot] {
            assert!(!is_urgent(&encoded(kind)), "{kind:?}");
        }
        assert!(!is_urgent(&[]));
    }
}
