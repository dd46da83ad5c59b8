const id = "a".repeat(64);
fails("set_member_data", { member_id: id, member_data: {} }, /there is no member/);
writeRow(MEMBER_INFO, textKey(id), { status: "Active", member_data: { role: "bank" } });
carries("set_member_data", { member_id: id, member_data: { role: "auditor" } });
equal(readRow(MEMBER_INFO, textKey(id)), { status: "Active", member_data: { role: "auditor" } });
