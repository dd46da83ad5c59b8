actions.set("remove_node", {
  validate: (args) => checkArgs(args, { node_id: is.id }),
  apply({ node_id }) {
    const info = readRow(NODE_INFO, textKey(node_id));
    if (info === undefined) return;
    const others = rows(NODE_INFO).filter(([id, { status }]) => id !== node_id && status === "Trusted");
    if (info.status === "Trusted" && others.length === 0) fail("no node would be left");
    if (info.status === "Pending") ccf.kv[NODE_INFO].delete(textKey(node_id));
    else writeRow(NODE_INFO, textKey(node_id), { ...info, status: "Retired" });
  },
  describe: ({ node_id }) => `Remove the node ${nodeName(node_id)} from the network`,
});

function nodeName(id) {
  const index = readRow(NODE_INFO, textKey(id))?.index;
  return index === undefined ? `${id.slice(0, 8)}…` : `${index} (${id.slice(0, 8)}…)`;
}
