// Beside those that are accepted already: an upgrade adds the new image, and removes the old one when its nodes are gone.
actions.set("add_tdx_image", {
  validate: (args) => void tdxImage(args),
  apply(args, proposalId) {
    addRule("tdx", "images", tdxImage(args));
    dropOtherOpenProposals(proposalId);
  },
  describe: (args) => `Let TDX nodes join whose trust domain is ${tdxWords(args)}; every other open proposal is dropped`,
});

// In the policy's own form. What is not named is not asked for.
function tdxImage(args) {
  const fields = { mrtd: is.hex(48), "rtmrs?": is.object, "mrconfigid?": is.hex(48), "mrowner?": is.hex(48), "mrownerconfig?": is.hex(48) };
  checkArgs(args, fields);
  for (const [index, value] of Object.entries(args.rtmrs ?? {})) {
    if (!/^[0-3]$/.test(index)) fail("rtmrs are named 0 to 3");
    is.hex(48)(value, `rtmrs ${index}`);
  }
  const named = Object.entries(args).filter(([, value]) => value !== null && value !== undefined);
  return JSON.parse(JSON.stringify(Object.fromEntries(named)).toLowerCase());
}

const tdxWords = (args) => Object.entries(tdxImage(args)).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
