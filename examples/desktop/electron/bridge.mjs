// The main process of an Electron app: shares one SchemaClient among all windows.
//
//   const client = new SchemaClient(() => new WebSocket(addressOfTheDaemon));
//   bridge(client, { ipcMain, windows: () => BrowserWindow.getAllWindows() });
//
// The windows use electron/preload.cjs; `schema` of their banner is then `window.schema`.

import { EVENTS, METHODS } from "../web/schema-client.js";

export function bridge(client, { ipcMain, windows }) {
  ipcMain.handle("ctx0-schema:ask", async (_, method, params) => {
    // The windows' word goes no further than what the client offers them.
    if (!METHODS.includes(method)) throw new TypeError(`there is no method ${method}`);
    try {
      return { result: await client[method](params ?? {}) };
    } catch (error) {
      // Electron would carry over the message alone.
      return { error: { ...error, message: error.message } };
    }
  });
  ipcMain.handle("ctx0-schema:present", (_, event) => client.present(event));
  for (const event of EVENTS) {
    client.on(event, (params) => {
      for (const window of windows()) window.webContents.send("ctx0-schema:event", event, params);
    });
  }
}
