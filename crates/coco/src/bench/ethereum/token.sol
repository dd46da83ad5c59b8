// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// The token of `coco bench ethereum`. token.hex is what solc 0.8.37 makes of it, optimised for 200 runs, for Cancun.
contract Token {
    event Transfer(address indexed from, address indexed to, uint256 value);

    mapping(address => uint256) public balanceOf;

    constructor() {
        balanceOf[msg.sender] = 1 << 200;
        emit Transfer(address(0), msg.sender, 1 << 200);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
