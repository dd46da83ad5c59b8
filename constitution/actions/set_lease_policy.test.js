refuses("set_lease_policy", { period_s: 1 }, /from 60/);
refuses("set_lease_policy", { grace_s: 60 }, /says nothing/);
writeRow(ATTESTATION_POLICY, textKey("network"), { minimum_nodes: 2 });
carries("set_lease_policy", { period_s: 3600, grace_s: 60 });
equal(readRow(ATTESTATION_POLICY, textKey("network")), { minimum_nodes: 2, evidence_age_max_s: 3600, grace_s: 60 });
carries("set_lease_policy", {});
equal(readRow(ATTESTATION_POLICY, textKey("network")), { minimum_nodes: 2, grace_s: 60 });
