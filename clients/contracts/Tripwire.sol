// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Every way in which a call can fail, one function each.
contract Tripwire {
    error Tripped(address by, uint256 code, string note);

    uint256 public touched;

    function withReason() external {
        touched += 1;
        revert("tripped on purpose");
    }

    function withCustomError(uint256 code) external {
        touched += 1;
        revert Tripped(msg.sender, code, "custom");
    }

    function withoutReason() external {
        touched += 1;
        revert();
    }

    function withPanic(uint256 zero) external returns (uint256) {
        touched += 1;
        return 1 / zero;
    }

    function withEndlessLoop() external {
        while (true) touched += 1;
    }

    function succeed() external {
        touched += 1;
    }
}
