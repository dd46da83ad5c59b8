//! What the ledger says of a primary that contradicted the others.

use coco_kv::Tx;
use coco_types::View;

use crate::Error;
use crate::rows::AlarmRow;
use crate::tables::{self, Read};

/// Records an alarm, once for each view: members decide what follows from it.
pub fn record_alarm(tx: &mut Tx, view: View, alarm: &AlarmRow) -> Result<(), Error> {
    let key = view.0.to_string();
    if tables::read::<AlarmRow>(tx as &mut dyn Read, &tables::ALARMS, key.as_bytes())?.is_none() {
        tables::write(tx, &tables::ALARMS, key.as_bytes(), alarm);
    }
    Ok(())
}
