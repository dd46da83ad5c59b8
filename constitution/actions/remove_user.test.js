const id = ccf.pemToId(CERTIFICATE);
refuses("remove_user", {}, /user_id is missing/);
carries("set_user", { cert: CERTIFICATE, user_data: {} });
carries("remove_user", { user_id: id });
equal(ccf.kv[USER_CERTS].has(textKey(id)), false);
equal(ccf.kv[USER_INFO].has(textKey(id)), false);
