// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Counts, and refuses in both ways that contracts refuse.
contract Counter {
    event Counted(address indexed by, uint256 step, uint256 total);

    error TooMuch(uint256 step, uint256 most);

    uint256 public total;

    function count(uint256 step) external {
        require(step > 0, "nothing to count");
        if (step > 100) revert TooMuch(step, 100);
        total += step;
        emit Counted(msg.sender, step, total);
    }
}
