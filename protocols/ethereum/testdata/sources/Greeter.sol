// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Named} from "./lib/Named.sol";

/// Says hello; “é” stands for what is not ASCII.
contract Greeter is Named {
    function greet() external view returns (string memory) {
        return string.concat("hello ", name());
    }
}
