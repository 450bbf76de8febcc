// Which room may import which: the table of src/README.md, executed.
const rooms = {
  shared: [],
  config: ["shared"],
  ring: ["shared"],
  replication: ["ring", "shared"],
  store: ["replication/ports", "shared"],
  secrets: ["shared"],
  rpc: ["ring", "replication/ports", "secrets", "shared"],
  mime: ["shared"],
  sasl: ["shared"],
  mailbox: ["replication", "mime", "sasl", "shared"],
  smtp: ["mailbox/authentication", "mailbox/folders", "mailbox/ports", "mime", "shared"],
  pop3: ["shared"],
  client: ["shared"],
  "mail-view": ["shared"],
  discovery: ["shared"],
  drill: ["client", "shared"],
  ebm: ["shared"],
  sdk: ["client", "discovery", "ebm", "shared"],
  middleware: ["ebm", "mailbox", "mime", "replication", "shared"],
  operator: ["mailbox", "replication", "ring", "mime", "shared"],
};

const allowed = ([room, others]) => ({
  name: `room-${room}`,
  comment: `src/${room} may import ${["itself", ...others].join(", ")}`,
  severity: "error",
  from: { path: `^src/${room}/`, pathNot: "\\.test\\.ts$" },
  to: {
    path: "^(src|tests|bench|scripts|chord\\.ts)",
    pathNot: [room, ...others].map((name) => `^src/${name}(/|\\.ts$)`),
  },
});

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...Object.entries(rooms).map(allowed),
    {
      name: "no-cycles",
      comment: "two modules that need each other are one, or a third is missing",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-cycles-of-types",
      comment: "a type that two modules share belongs in a third",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "only-the-root-wires",
      comment: "node.ts is the composition root; only the command line may start it",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(cli/|node/|node\\.ts$)|\\.test\\.ts$" },
      to: { path: "^src/(node\\.ts|node/|cli/)" },
    },
    {
      name: "no-tests-in-the-product",
      severity: "error",
      from: { path: "^(src|chord\\.ts)", pathNot: "\\.test\\.ts$|/test(ing|-[a-z]+)\\.ts$" },
      to: { path: "^(tests|bench|scripts)/|\\.test\\.ts$|/test(ing|-[a-z]+)\\.ts$" },
    },
    {
      name: "declared-dependencies",
      comment: "what runs is named in dependencies",
      severity: "error",
      from: { path: "^(src|chord\\.ts)", pathNot: "\\.test\\.ts$|/test(ing|-[a-z]+)\\.ts$" },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"] },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types"] },
  },
};
