//! All methods.

use super::call::Method;
use super::{coco, debug, debug_trace, developer, eth, net, ots, testing, trace, txpool, web3};

/// Every method of every namespace.
pub fn methods() -> impl Iterator<Item = &'static Method> {
    let others = [
        coco::METHODS,
        debug::METHODS,
        debug_trace::METHODS,
        net::METHODS,
        testing::METHODS,
        trace::METHODS,
        txpool::METHODS,
        web3::METHODS,
    ];
    eth::TABLES.iter().chain(developer::TABLES).chain(ots::TABLES).copied().chain(others).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_one_home() {
        let mut names: Vec<&str> = methods().map(|method| method.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
