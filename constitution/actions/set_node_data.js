actions.set("set_node_data", {
  validate: (args) => checkArgs(args, { node_id: is.id, node_data: is.object }),
  apply({ node_id, node_data }) {
    writeRow(NODE_INFO, textKey(node_id), { ...mustExist(NODE_INFO, node_id, "node"), node_data });
  },
  describe: ({ node_id, node_data }) => `Describe the node ${nodeName(node_id)} as ${JSON.stringify(node_data)}`,
});
