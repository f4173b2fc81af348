import { theme, toggleTheme } from "../state/theme";

export function ThemeButton() {
  const next = theme.value === "dark" ? "Light" : "Dark";
  return (
    <button type="button" class="quiet" onClick={toggleTheme} title={`${next} colours`}>
      {next}
    </button>
  );
}
