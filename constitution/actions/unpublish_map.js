actions.set("unpublish_map", {
  validate: (args) => checkArgs(args, { map: is.privateMap }),
  apply({ map }) {
    mustExist(PUBLISHED_MAPS, map, "published map");
    ccf.kv[PUBLISHED_MAPS].delete(textKey(map));
  },
  describe: ({ map }) => `Seal what enters the map ${map} from now on; what was published stays`,
});
