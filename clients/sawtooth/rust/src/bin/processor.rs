//! The published transaction handlers of a family, on the published SDK: `processor intkey tcp://127.0.0.1:4004`.

use sawtooth_intkey::handler::IntkeyTransactionHandler;
use sawtooth_sdk::processor::TransactionProcessor;
use sawtooth_xo::handler::XoTransactionHandler;

fn main() {
    let [family, url] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("a family and a URL");
    let (intkey, xo) = (IntkeyTransactionHandler::new(), XoTransactionHandler::new());
    let mut processor = TransactionProcessor::new(&url);
    match family.as_str() {
        "intkey" => processor.add_handler(&intkey),
        "xo" => processor.add_handler(&xo),
        _ => panic!("the published families are intkey and xo"),
    }
    processor.start();
}
