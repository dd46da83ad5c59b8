//! How much memory a message would take, before it is decoded: an element of a repeated field may be two bytes on the wire, and takes some fifty decoded.

use prost::decode_length_delimiter;

/// Wire types of protobuf's encoding.
const VARINT: usize = 0;
const SIXTY_FOUR_BIT: usize = 1;
const LENGTH_DELIMITED: usize = 2;
const GROUP_BEGINS: usize = 3;
const GROUP_ENDS: usize = 4;
const THIRTY_TWO_BIT: usize = 5;

/// How many elements decoding a message gives below a path of field numbers: of `[1]` those of field 1, of `[1, 2]` those of field 2 in all of field 1.
/// Of what does not decode those before the fault.
pub fn elements(message: &[u8], path: &[usize]) -> usize {
    let Some((wanted, below)) = path.split_first() else { return 1 };
    let (mut rest, mut count) = (message, 0);
    while let Some((number, content)) = next_field(&mut rest) {
        if number == *wanted {
            count += elements(content, below);
        }
    }
    count
}

/// A field's number, and its content where that has a length; nothing at the end. Groups, which no message here has, count as what is in them.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(usize, &'a [u8])> {
    let key = varint(rest)?;
    let length = match key & 7 {
        VARINT => {
            varint(rest)?;
            0
        }
        GROUP_BEGINS | GROUP_ENDS => 0,
        SIXTY_FOUR_BIT => 8,
        THIRTY_TWO_BIT => 4,
        LENGTH_DELIMITED => varint(rest)?,
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((key >> 3, content))
}

/// All of them are written as lengths are.
fn varint(rest: &mut &[u8]) -> Option<usize> {
    decode_length_delimiter(rest).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::messages::client::{EventsSubscribeRequest, ListRequest, SortControls};
    use crate::messages::ledger::{EventFilter, EventSubscription};

    #[test]
    fn elements_are_counted_as_they_are_decoded_wherever_they_are() {
        let subscription =
            |filters| EventSubscription { event_type: "a".into(), filters: vec![EventFilter::default(); filters] };
        let request = EventsSubscribeRequest {
            subscriptions: vec![subscription(2), subscription(0), subscription(3)],
            last_known_block_ids: vec![String::new(); 4],
        };
        let bytes = request.encode_to_vec();
        assert_eq!([&[1][..], &[1, 2], &[2], &[3]].map(|path| elements(&bytes, path)), [3, 5, 4, 0]);
        assert_eq!(elements(&bytes[..bytes.len() - 1], &[2]), 3, "the last one is cut off");
        let strange =
            [&[0x1b, 0x1c, 0x08, 0xff, 0x01, 0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8][..], &bytes[..]].concat();
        assert_eq!(elements(&strange, &[1, 2]), 5, "behind fields of other types");
    }

    proptest! {
        #[test]
        fn no_bytes_give_more_when_decoded(bytes in prop::collection::vec(0..40u8, 0..100)) {
            if let Ok(list) = ListRequest::decode(&bytes[..]) {
                let keys = |sorting: &SortControls| sorting.keys.len();
                prop_assert!(elements(&bytes, &[2]) >= list.ids.len());
                prop_assert!(elements(&bytes, &[4]) >= list.sorting.len());
                prop_assert!(elements(&bytes, &[4, 1]) >= list.sorting.iter().map(keys).sum::<usize>());
            }
        }
    }
}
