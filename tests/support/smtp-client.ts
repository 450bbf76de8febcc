export * from "../../src/drill/smtp-client.js";
