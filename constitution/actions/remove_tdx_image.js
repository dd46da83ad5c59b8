// Nodes that run it are judged anew, and go.
actions.set("remove_tdx_image", {
  validate(args) {
    if (!hasRule("tdx", "images", tdxImage(args))) fail("no such image is accepted: name it as it was added, in full");
  },
  apply: (args) => removeRule("tdx", "images", tdxImage(args)),
  describe: (args) => `Accept no more TDX nodes whose trust domain is ${tdxWords(args)}`,
});
