// GETs of one URL: LOOP=closed keeps CONNECTIONS of them in flight, LOOP=open sends RATE a second. For SECONDS.
import http from 'k6/http';

const shapes = {
  closed: { executor: 'constant-vus', vus: Number(__ENV.CONNECTIONS) },
  open: {
    executor: 'constant-arrival-rate',
    rate: Number(__ENV.RATE),
    timeUnit: '1s',
    preAllocatedVUs: Number(__ENV.CONNECTIONS),
    maxVUs: Number(__ENV.CONNECTIONS),
  },
};

export const options = {
  discardResponseBodies: true,
  scenarios: { load: { ...shapes[__ENV.LOOP], duration: `${__ENV.SECONDS}s`, gracefulStop: '30s' } },
};

export default function () {
  http.get(__ENV.URL);
}
