export * from "../../src/client/pop3-client.js";
export * from "../../src/drill/fetching.js";
