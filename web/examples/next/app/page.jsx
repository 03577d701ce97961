import { Demo } from './demo.jsx';

export default function Page() {
  return (
    <main>
      <h1>Logferry with Next</h1>
      <Demo />
    </main>
  );
}
