// Whoever proposes it answers for the node: it counts as that member's. Its certificate is issued when it next asks, by the network's own rules.
actions.set("transition_node_to_trusted", {
  validate: (args) => checkArgs(args, { node_id: is.id, "valid_from?": is.string, "validity_period_days?": is.integer(1, 365) }),
  apply({ node_id }, proposalId) {
    const info = mustExist(NODE_INFO, node_id, "node");
    if (info.status === "Trusted") return;
    if (info.status !== "Pending") fail(`the node ${node_id} is ${info.status}`);
    const owner = readRow(PROPOSALS_INFO, textKey(proposalId))?.proposer_id;
    writeRow(NODE_INFO, textKey(node_id), { ...info, status: "Trusted", ...(owner ? { owner } : {}) });
  },
  describe: ({ node_id }) => `Let the node ${nodeName(node_id)} join the network; whoever proposes this answers for it`,
});
