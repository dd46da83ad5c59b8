// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import "hardhat/console.sol";

contract Shouter {
    uint256 public count;

    function shout(string calldata what) external {
        count += 1;
        console.log("%s for the %s. time", what, count);
        console.log(msg.sender);
    }
}
