// Lint for what types can't see: forgotten promises, and clocks, dice or sockets in the core.
import tseslint from "typescript-eslint";

/** Rooms whose logic runs in the simulation: time, chance and I/O come in through ports. */
const pure = [
  "src/ring/**/*.ts",
  "src/replication/**/*.ts",
  "src/mime/**/*.ts",
  "src/pop3/session*.ts",
  "src/pop3/authorization.ts",
];

const port = "comes in through a port, so that the simulation can stand in for it";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", "data/", "coverage/"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.base],
    languageOptions: {
      parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true }],
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/prefer-promise-reject-errors": "error",
      eqeqeq: "error",
      "no-empty": "error",
    },
  },
  {
    files: ["src/**/*.ts", "chord.ts"],
    ignores: ["**/*.test.ts"],
    rules: { "no-console": "error" },
  },
  {
    files: pure,
    ignores: ["**/*.test.ts", "**/testing.ts", "**/test-*.ts"],
    rules: {
      "no-restricted-globals": [
        "error",
        ...["setTimeout", "setInterval", "setImmediate", "performance", "fetch"].map((name) => ({
          name,
          message: port,
        })),
      ],
      "no-restricted-properties": [
        "error",
        { object: "Date", property: "now", message: port },
        { object: "Math", property: "random", message: port },
        { object: "process", property: "hrtime", message: port },
      ],
      "no-restricted-syntax": [
        "error",
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: port },
      ],
      "no-restricted-imports": [
        "error",
        {
          paths: [
            ...["fs", "fs/promises", "net", "tls", "http", "https", "dgram", "dns"].map((name) => ({
              name: `node:${name}`,
              message: port,
            })),
            ...["timers", "timers/promises", "worker_threads", "child_process"].map((name) => ({
              name: `node:${name}`,
              message: port,
            })),
            {
              name: "node:crypto",
              importNames: ["randomBytes", "randomInt", "randomUUID", "randomFill"],
              message: port,
            },
          ],
        },
      ],
    },
  },
);
