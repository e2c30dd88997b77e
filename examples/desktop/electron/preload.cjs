// The preload of an Electron window, sandboxed: gives the page `window.schema`, with the methods
// and events of the SchemaClient that electron/bridge.mjs shares from the main process.

const { contextBridge, ipcRenderer } = require("electron");

const ask = (method) => async (params) => {
  const { result, error } = await ipcRenderer.invoke("ctx0-schema:ask", method, params);
  if (error) throw Object.assign(new Error(error.message), error);
  return result;
};

contextBridge.exposeInMainWorld("schema", {
  checkUpdates: ask("checkUpdates"),
  applyUpdates: ask("applyUpdates"),
  changeLog: ask("changeLog"),
  status: ask("status"),
  preview: ask("preview"),
  cancelPreview: ask("cancelPreview"),
  cancelChange: ask("cancelChange"),
  rollback: ask("rollback"),
  verify: ask("verify"),
  doctor: ask("doctor"),
  install: ask("install"),
  recognise: ask("recognise"),
  baseline: ask("baseline"),
  on(event, listener) {
    const hear = (_, name, params) => {
      if (name === event) listener(params);
    };
    ipcRenderer.on("ctx0-schema:event", hear);
    // What holds already, as a listener of the client itself hears it.
    ipcRenderer.invoke("ctx0-schema:present", event).then((params) => {
      if (params !== undefined) listener(params);
    });
    return () => ipcRenderer.off("ctx0-schema:event", hear);
  },
});
