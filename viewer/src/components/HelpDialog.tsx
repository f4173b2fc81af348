import { helpGroups } from "../lib/shortcuts";
import { Modal } from "./Modal";

export function HelpDialog() {
  return (
    <Modal title="Keys">
      <div class="help">
        {[...helpGroups()].map(([group, rows]) => (
          <table key={group}>
            <caption>{group}</caption>
            <tbody>
              {rows.map(({ keys, label }) => (
                <tr key={label}>
                  <th scope="row">{label}</th>
                  <td>
                    {keys.map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        ))}
      </div>
      <p class="hint">
        Wheel or pinch zooms, dragging pans, a double click goes in and out. The address holds all
        that you see: send it to show the same.
      </p>
      <p class="hint">
        <a href="assets/licenses.txt">Licenses</a> of what this page is made with.
      </p>
    </Modal>
  );
}
