/** Takes pictures with the device's camera. They stay in the page. */

import { PageError } from "./model_file.js";

const REASONS = {
  NotAllowedError: "The camera may not be used. Allow it for this page in the browser's settings.",
  NotFoundError: "This device has no camera, or none that the browser finds.",
  NotReadableError: "The camera is busy: another program uses it.",
};

/** Whether the browser lets this page ask for a camera: over https or from localhost only. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Shows in a video element what the camera sees, that on a phone's back if there is one. */
export async function openCamera(video) {
  try {
    const constraints = { video: { facingMode: "environment" }, audio: false };
    video.srcObject = await navigator.mediaDevices.getUserMedia(constraints);
    await video.play();
  } catch (error) {
    closeCamera(video);
    throw new PageError(REASONS[error.name] ?? `The camera could not be started (${error.name}).`);
  }
}

/** Switches the camera off. */
export function closeCamera(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

/** Gives what the camera sees now as a picture file. */
export async function takeFrame(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
