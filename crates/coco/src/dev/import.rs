//! Another network's blocks, from a file of any size into the node that is to serve them: a few at a time, each time in a ledger transaction of
//! its own. What is there already is passed over, so that an import which was interrupted goes on.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use alloy_primitives::{U64, hex};
use anyhow::{Context, bail};

use crate::bench::progress;
use crate::http::Url;
use crate::json_rpc::Client;

/// Of blocks in one request.
const REQUEST_BYTES: usize = 1 << 20;
const REQUEST_BLOCKS: usize = 256;
/// One block; no network has any as large.
const BLOCK_BYTES_MAX: u64 = 8 << 20;
/// What a node says when blocks change more than it can write at once.
const TOO_MUCH: &str = "more than a ledger transaction holds";

/// Imports a file; gives the newest block's number.
pub fn import(url: &Url, file: &Path) -> anyhow::Result<u64> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    let bar = progress::bar(opened.metadata()?.len(), "importing");
    let (mut reader, mut client) = (BufReader::new(opened), Client::connect(url)?);
    let (mut blocks, mut newest) = (Vec::new(), client.call::<U64>("eth_blockNumber", ())?.to());
    loop {
        let block = next_block(&mut reader).with_context(|| format!("{}: no blocks in RLP", file.display()))?;
        let ended = block.is_none();
        blocks.extend(block);
        let bytes: usize = blocks.iter().map(Vec::len).sum();
        if !blocks.is_empty() && (ended || bytes >= REQUEST_BYTES || blocks.len() >= REQUEST_BLOCKS) {
            newest = send(&mut client, &blocks).with_context(|| file.display().to_string())?;
            bar.inc(bytes as u64);
            blocks.clear();
        }
        if ended {
            bar.finish_and_clear();
            return Ok(newest);
        }
    }
}

/// Half as many at a time where they write too much together.
fn send(client: &mut Client, blocks: &[Vec<u8>]) -> anyhow::Result<u64> {
    // A batch of one: batches may be larger than single requests.
    let sent: anyhow::Result<Vec<U64>> = client.batch("coco_importBlocks", &[(hex::encode_prefixed(blocks.concat()),)]);
    match sent {
        Ok(newest) => newest.first().map(U64::to).context("an answer is missing"),
        Err(error) if blocks.len() > 1 && format!("{error:#}").contains(TOO_MUCH) => {
            let (first, second) = blocks.split_at(blocks.len() / 2);
            send(client, first)?;
            send(client, second)
        }
        Err(error) => Err(error),
    }
}

/// The bytes of the next block, an RLP list; `None` at the end of the file.
fn next_block(reader: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut head = [0; 1];
    match reader.read_exact(&mut head) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut block = head.to_vec();
    let length = match head {
        [byte @ 0xc0..=0xf7] => u64::from(byte - 0xc0),
        [byte @ 0xf8..=0xff] => {
            let mut length = vec![0; usize::from(byte - 0xf7)];
            reader.read_exact(&mut length)?;
            block.extend_from_slice(&length);
            length.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add(u64::from(*byte)))
        }
        [byte] => bail!("a block begins with {byte:#04x}, which no list does"),
    };
    if length > BLOCK_BYTES_MAX {
        bail!("a block of {length} bytes");
    }
    let read = reader.take(length).read_to_end(&mut block)?;
    if read as u64 != length {
        bail!("the last block is cut off");
    }
    Ok(Some(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_where_its_blocks_end() {
        let long = [vec![0xf8, 60], vec![7; 60]].concat();
        let file = [&[0xc0][..], &long, &[0xc2, 1, 2]].concat();
        let mut reader = &file[..];
        let blocks: Vec<_> = std::iter::from_fn(|| next_block(&mut reader).unwrap()).collect();
        assert_eq!(blocks, [vec![0xc0], long, vec![0xc2, 1, 2]]);
    }

    #[test]
    fn what_is_no_list_or_is_cut_off_is_refused() {
        for file in [&[0x80][..], &[0xc2, 1], &[0xf9, 1], &[0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0]] {
            assert!(next_block(&mut &file[..]).is_err(), "{file:?}");
        }
    }
}
