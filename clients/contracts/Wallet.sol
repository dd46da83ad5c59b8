// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Code for an account to borrow with an EIP-7702 authorization: runs several calls as the account itself.
contract Wallet {
    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    event Executed(address indexed account, uint256 calls);

    error NotTheAccount(address caller);

    receive() external payable {}

    function execute(Call[] calldata calls) external payable {
        if (msg.sender != address(this)) revert NotTheAccount(msg.sender);
        for (uint256 i = 0; i < calls.length; i++) {
            (bool success,) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            require(success, "a call failed");
        }
        emit Executed(address(this), calls.length);
    }
}
