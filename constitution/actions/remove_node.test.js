const [pending, trusted] = ["a".repeat(64), "b".repeat(64)];
writeRow(NODE_INFO, textKey(pending), { status: "Pending" });
writeRow(NODE_INFO, textKey(trusted), { status: "Trusted", replica: 7 });
carries("remove_node", { node_id: pending });
carries("remove_node", { node_id: trusted });
equal(ccf.kv[NODE_INFO].has(textKey(pending)), false);
equal(readRow(NODE_INFO, textKey(trusted)), { status: "Retired", replica: 7 });
const last = rows(NODE_INFO).find(([, { status }]) => status === "Trusted")[0];
fails("remove_node", { node_id: last }, /no node would be left/);
