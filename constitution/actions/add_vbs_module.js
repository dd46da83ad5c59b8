// Beside those that are accepted already. The enclave's image and every module beside it must match one.
actions.set("add_vbs_module", {
  validate: (args) => void vbsModule(args),
  apply(args, proposalId) {
    addRule("vbs", "modules", vbsModule(args));
    dropOtherOpenProposals(proposalId);
  },
  describe: (args) => `Accept in VBS enclaves the module with ${vbsWords(args)}; every other open proposal is dropped`,
});

// In the policy's own form: one image exactly, or all that an author signed as this family and image, from a version on.
function vbsModule(args) {
  checkArgs(args, {
    "unique_id?": is.hex(32), "author_id?": is.hex(32), "family_id?": is.hex(16), "image_id?": is.hex(16), "min_svn?": is.integer(0, 4294967295),
  });
  const { unique_id, author_id, family_id, image_id, min_svn } = args;
  if (unique_id && (author_id || family_id || image_id)) fail("a module is named by unique_id, or by author_id, family_id and image_id");
  if (!unique_id && !(author_id && family_id && image_id)) fail("a module needs a unique_id, or author_id, family_id and image_id");
  const ids = Object.entries({ unique_id, author_id, family_id, image_id }).filter(([, id]) => id).map(([name, id]) => [name, id.toLowerCase()]);
  return { ...Object.fromEntries(ids), ...(min_svn ? { min_svn } : {}) };
}

const vbsWords = (args) => Object.entries(vbsModule(args)).map(([name, value]) => `${name} ${value}`).join(", ");
