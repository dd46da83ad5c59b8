//! Evidence for whoever asks for it, one piece at a time.
//!
//! The device behind it is slow, answers one call after the other, and is needed for this node's own renewals too. So a thread of its own asks it for
//! outsiders, few of whom may wait; the others are told to come again. The threads that serve requests never wait for it.

use std::io;
use std::sync::Arc;

use coco_attestation::{Evidence, EvidenceSource, ReportData, SourceError};
use coco_types::limits;
use crossbeam_channel::{Sender, bounded};

/// What became of a question.
pub type Reply = Box<dyn FnOnce(Result<Evidence, NoEvidence>) + Send>;

pub enum NoEvidence {
    /// Too many wait already.
    Busy,
    Source(SourceError),
}

/// See the module's text. The thread ends with it.
pub struct Attesting {
    questions: Sender<(ReportData, Reply)>,
}

impl Attesting {
    pub fn start(source: Arc<dyn EvidenceSource>) -> io::Result<Self> {
        let (questions, asked) = bounded::<(ReportData, Reply)>(limits::ATTESTATIONS_QUEUED_MAX);
        let answer =
            move |(data, reply): (ReportData, Reply)| reply(source.evidence(&data).map_err(NoEvidence::Source));
        let serve = move || asked.into_iter().for_each(answer);
        std::thread::Builder::new().name("attesting".to_owned()).spawn(serve)?;
        Ok(Self { questions })
    }

    pub fn ask(&self, data: ReportData, reply: Reply) {
        if let Err(refused) = self.questions.try_send((data, reply)) {
            let (_, reply) = refused.into_inner();
            reply(Err(NoEvidence::Busy));
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_attestation::TeeKind;
    use crossbeam_channel::Receiver;

    use super::*;

    /// A device that answers when it is let, and says that it was asked.
    struct Slow {
        asked: Sender<()>,
        may_answer: Receiver<()>,
    }

    impl EvidenceSource for Slow {
        fn kind(&self) -> TeeKind {
            TeeKind::Virtual
        }

        fn evidence(&self, data: &ReportData) -> Result<Evidence, SourceError> {
            self.asked.send(()).expect("somebody counts");
            self.may_answer.recv().expect("somebody lets it");
            Ok(Evidence::bare(TeeKind::Virtual, data.0.to_vec()))
        }
    }

    #[test]
    fn a_device_is_asked_once_at_a_time_and_who_comes_when_too_many_wait_is_refused() {
        let (asked_to, asked) = bounded(100);
        let (let_it, may_answer) = bounded(100);
        let attesting = Attesting::start(Arc::new(Slow { asked: asked_to, may_answer })).unwrap();
        let (answers_to, answers) = bounded(100);
        let ask = |byte: u8| {
            let answers_to = answers_to.clone();
            let reply = move |evidence: Result<Evidence, NoEvidence>| {
                let answer = match evidence {
                    Ok(evidence) => Some(evidence.raw[0]),
                    Err(NoEvidence::Busy) => None,
                    Err(NoEvidence::Source(error)) => panic!("{error}"),
                };
                answers_to.send((byte, answer)).unwrap();
            };
            attesting.ask(ReportData([byte; 64]), Box::new(reply));
        };
        ask(0);
        asked.recv().unwrap();
        let waiting = u8::try_from(limits::ATTESTATIONS_QUEUED_MAX).unwrap();
        (1..=waiting).for_each(ask);
        assert!(asked.is_empty() && answers.is_empty(), "one at a time");
        ask(99);
        assert_eq!(answers.recv().unwrap(), (99, None), "too many wait");
        for byte in 0..=waiting {
            let_it.send(()).unwrap();
            assert_eq!(answers.recv().unwrap(), (byte, Some(byte)));
        }
        let_it.send(()).unwrap();
        ask(99);
        assert_eq!(answers.recv().unwrap(), (99, Some(99)), "there is room again");
    }
}
