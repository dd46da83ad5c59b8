const [LONG, SHORT] = ["AB".repeat(32), "cd".repeat(16)];
refuses("add_vbs_module", {}, /needs a unique_id/);
refuses("add_vbs_module", { author_id: LONG, family_id: SHORT }, /needs a unique_id, or author_id, family_id and image_id/);
refuses("add_vbs_module", { unique_id: LONG, image_id: SHORT }, /by unique_id, or by/);
refuses("add_vbs_module", { unique_id: SHORT }, /unique_id must be 64 hexadecimal/);
writeRow(PROPOSALS_INFO, textKey("p"), { proposer_id: "m", state: "Open", ballots: {} });
carries("add_vbs_module", { unique_id: LONG });
carries("add_vbs_module", { author_id: LONG, family_id: SHORT, image_id: SHORT, min_svn: 3 });
carries("add_vbs_module", { author_id: LONG, family_id: SHORT, image_id: SHORT, min_svn: 3 });
equal(readRow(ATTESTATION_POLICY, textKey("vbs")).modules, [
  { unique_id: "ab".repeat(32) },
  { author_id: "ab".repeat(32), family_id: SHORT, image_id: SHORT, min_svn: 3 },
]);
equal(readRow(PROPOSALS_INFO, textKey("p")).state, "Dropped");
