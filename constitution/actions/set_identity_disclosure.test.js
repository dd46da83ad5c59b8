refuses("set_identity_disclosure", {}, /name at least one of member_certificates/);
refuses("set_identity_disclosure", { passwords: "members" }, /there is no argument passwords/);
refuses("set_identity_disclosure", { participants: "nobody" }, /participants must be one of everyone, callers, members, themselves/);
carries("set_identity_disclosure", { participants: "members", member_data: "callers" });
carries("set_identity_disclosure", { participants: "callers", bindings: "everyone" });
equal(readRow(IDENTITY_DISCLOSURE, K0), { participants: "callers", member_data: "callers", bindings: "everyone" });
