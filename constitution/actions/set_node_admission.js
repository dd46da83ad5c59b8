// Nodes that come back to their place are not asked for again, whatever this says.
actions.set("set_node_admission", {
  validate: (args) => checkArgs(args, { by: is.oneOf(["code", "vote"]) }),
  apply: ({ by }) => writeRow(NODE_ADMISSION, K0, { by }),
  describe: ({ by }) =>
    by === "vote" ? "Let a new node wait for a vote, even if it runs accepted code" : "Let every new node join that runs accepted code",
});
