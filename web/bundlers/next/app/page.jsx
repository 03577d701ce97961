// A server component that imports the package: nothing of it may touch the DOM there.
import { createLogger } from '@logferry/browser';
import { Client } from './client.jsx';

export default function Page() {
  const logger = createLogger({ endpoint: 'https://api.test', getToken: () => null, scope: {} });
  logger.info('on the server this does nothing');
  return <Client />;
}
