refuses("set_resume_policy", {}, /allowed is missing/);
refuses("set_resume_policy", { allowed: true, rolled_back_disks: -1 }, /from 0 to 100/);
refuses("set_resume_policy", { allowed: false, rolled_back_disks: 1 }, /says nothing/);
carries("set_resume_policy", { allowed: true, rolled_back_disks: 1 });
equal(readRow(RESUME_POLICY, K0), { allowed: true, rolled_back_disks: 1 });
carries("set_resume_policy", { allowed: false });
equal(readRow(RESUME_POLICY, K0), { allowed: false, rolled_back_disks: 0 });
