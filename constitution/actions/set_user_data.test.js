const id = ccf.pemToId(CERTIFICATE);
fails("set_user_data", { user_id: id, user_data: {} }, /there is no participant/);
carries("set_user", { cert: CERTIFICATE });
carries("set_user_data", { user_id: id, user_data: { limit: 5 } });
equal(readRow(USER_INFO, textKey(id)), { user_data: { limit: 5 } });
