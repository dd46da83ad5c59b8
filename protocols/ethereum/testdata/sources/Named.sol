// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

abstract contract Named {
    function name() public view virtual returns (string memory) {
        return "coco";
    }
}
