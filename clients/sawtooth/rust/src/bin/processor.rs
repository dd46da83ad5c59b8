//! The published transaction handlers of a family, on the published SDK: `processor intkey tcp://127.0.0.1:4004`. It prints the signature of each
//! transaction that it was asked to apply, so that whoever runs it can tell who did the work.

use std::io::Write;

use sawtooth_intkey::handler::IntkeyTransactionHandler;
use sawtooth_sdk::messages::processor::TpProcessRequest;
use sawtooth_sdk::processor::TransactionProcessor;
use sawtooth_sdk::processor::handler::{ApplyError, TransactionContext, TransactionHandler};
use sawtooth_xo::handler::XoTransactionHandler;

/// A published handler, and what it was asked.
struct Told<H>(H);

impl<H: TransactionHandler> TransactionHandler for Told<H> {
    fn family_name(&self) -> String {
        self.0.family_name()
    }

    fn family_versions(&self) -> Vec<String> {
        self.0.family_versions()
    }

    fn namespaces(&self) -> Vec<String> {
        self.0.namespaces()
    }

    fn apply(&self, request: &TpProcessRequest, context: &mut dyn TransactionContext) -> Result<(), ApplyError> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", request.get_signature()).and_then(|()| out.flush()).expect("somebody reads it");
        drop(out);
        self.0.apply(request, context)
    }
}

fn main() {
    let [family, url] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("a family and a URL");
    let (intkey, xo) = (Told(IntkeyTransactionHandler::new()), Told(XoTransactionHandler::new()));
    let mut processor = TransactionProcessor::new(&url);
    match family.as_str() {
        "intkey" => processor.add_handler(&intkey),
        "xo" => processor.add_handler(&xo),
        _ => panic!("the published families are intkey and xo"),
    }
    processor.start();
}
