refuses("set_node_admission", { by: "lot" }, /one of code, vote/);
carries("set_node_admission", { by: "vote" });
equal(readRow(NODE_ADMISSION, K0), { by: "vote" });
